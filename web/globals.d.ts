// What `make lint` takes as given in web/, beside what TypeScript knows of browsers.
declare module "*.txt" {
  const text: string;
  export default text;
}
declare module "*.deflate" {
  const url: string;
  export default url;
}
declare module "node:fs/promises";
declare module "node:zlib";
declare const GPUBufferUsage: any, GPUMapMode: any, GPUShaderStage: any;
interface Window {
  Plotly: any;
  bookData: any;
  define: any;
  regularizationLabs: any;
}
